CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE artifact (
	map_id INTEGER NOT NULL,
	idx BIGINT NOT NULL,
	number INTEGER NOT NULL,
	role TEXT NOT NULL,
	name TEXT NOT NULL,
	digest BYTEA NOT NULL,
	size BIGINT NOT NULL,
	path TEXT,
	place TEXT,
	CONSTRAINT pk_artifact PRIMARY KEY (map_id, idx, number, role, name)
);

CREATE INDEX ix_artifact_digest ON artifact (digest);

CREATE TABLE attempt (
	map_id INTEGER NOT NULL,
	idx BIGINT NOT NULL,
	number INTEGER NOT NULL,
	context_id INTEGER NOT NULL,
	outcome SMALLINT NOT NULL,
	started BIGINT,
	wall BIGINT,
	cpu BIGINT,
	max_rss BIGINT,
	rss_shared SMALLINT,
	detail INTEGER,
	error TEXT,
	result TEXT,
	result_digest BYTEA,
	log TEXT,
	trail TEXT,
	CONSTRAINT pk_attempt PRIMARY KEY (map_id, idx, number)
);

CREATE TABLE brought (
	map_id INTEGER NOT NULL,
	idx BIGINT NOT NULL,
	number INTEGER NOT NULL,
	origin_id INTEGER NOT NULL,
	origin_idx BIGINT NOT NULL,
	origin_number INTEGER NOT NULL,
	CONSTRAINT pk_brought PRIMARY KEY (map_id, idx, number)
);

CREATE INDEX ix_brought_origin_id_origin_idx ON brought (origin_id, origin_idx);

CREATE TABLE code (
	id SERIAL NOT NULL,
	digest BYTEA NOT NULL,
	body TEXT NOT NULL,
	captured BIGINT NOT NULL,
	patch BYTEA,
	CONSTRAINT pk_code PRIMARY KEY (id),
	CONSTRAINT uq_code_digest UNIQUE (digest)
);

CREATE TABLE environment (
	id SERIAL NOT NULL,
	digest BYTEA NOT NULL,
	body TEXT NOT NULL,
	captured BIGINT NOT NULL,
	CONSTRAINT pk_environment PRIMARY KEY (id),
	CONSTRAINT uq_environment_digest UNIQUE (digest)
);

CREATE TABLE hole (
	log_uuid TEXT NOT NULL,
	position BIGINT NOT NULL,
	CONSTRAINT pk_hole PRIMARY KEY (log_uuid, position)
);

CREATE TABLE host (
	id SERIAL NOT NULL,
	digest BYTEA NOT NULL,
	body TEXT NOT NULL,
	CONSTRAINT pk_host PRIMARY KEY (id),
	CONSTRAINT uq_host_digest UNIQUE (digest)
);

CREATE TABLE inputs (
	id SERIAL NOT NULL,
	digest BYTEA NOT NULL,
	body TEXT NOT NULL,
	CONSTRAINT pk_inputs PRIMARY KEY (id),
	CONSTRAINT uq_inputs_digest UNIQUE (digest)
);

CREATE TABLE job (
	id SERIAL NOT NULL,
	uuid TEXT NOT NULL,
	kind TEXT NOT NULL,
	state TEXT NOT NULL,
	user_name TEXT NOT NULL,
	node TEXT NOT NULL,
	slots INTEGER NOT NULL,
	ranks INTEGER NOT NULL,
	started BIGINT NOT NULL,
	ended BIGINT,
	reason TEXT,
	owner TEXT NOT NULL,
	CONSTRAINT pk_job PRIMARY KEY (id),
	CONSTRAINT uq_job_uuid UNIQUE (uuid)
);

CREATE TABLE log (
	uuid TEXT NOT NULL,
	position BIGINT NOT NULL,
	digest BYTEA NOT NULL,
	open SMALLINT NOT NULL,
	opened BIGINT NOT NULL,
	CONSTRAINT pk_log PRIMARY KEY (uuid)
);

CREATE TABLE origin (
	id SERIAL NOT NULL,
	registry TEXT NOT NULL,
	map TEXT NOT NULL,
	CONSTRAINT pk_origin PRIMARY KEY (id),
	CONSTRAINT uq_origin_registry_map UNIQUE (registry, map)
);

CREATE TABLE recipe (
	id SERIAL NOT NULL,
	digest BYTEA NOT NULL,
	body TEXT NOT NULL,
	CONSTRAINT pk_recipe PRIMARY KEY (id),
	CONSTRAINT uq_recipe_digest UNIQUE (digest)
);

CREATE TABLE registry (
	id SERIAL NOT NULL,
	uuid TEXT NOT NULL,
	CONSTRAINT pk_registry PRIMARY KEY (id)
);

CREATE TABLE reused (
	map_id INTEGER NOT NULL,
	idx BIGINT NOT NULL,
	origin_id INTEGER NOT NULL,
	origin_idx BIGINT NOT NULL,
	origin_number INTEGER NOT NULL,
	CONSTRAINT pk_reused PRIMARY KEY (map_id, idx)
);

CREATE INDEX ix_reused_origin_id_origin_idx ON reused (origin_id, origin_idx);

CREATE TABLE tally (
	map_id INTEGER NOT NULL,
	context_id INTEGER NOT NULL,
	outcome SMALLINT NOT NULL,
	attempts BIGINT NOT NULL,
	accepted BIGINT NOT NULL,
	noresult BIGINT NOT NULL,
	wall BIGINT NOT NULL,
	first BIGINT,
	last BIGINT,
	taken BIGINT DEFAULT 0 NOT NULL,
	reused BIGINT DEFAULT 0 NOT NULL,
	CONSTRAINT pk_tally PRIMARY KEY (map_id, context_id, outcome)
);

CREATE TABLE task (
	map_id INTEGER NOT NULL,
	idx BIGINT NOT NULL,
	params TEXT NOT NULL,
	state SMALLINT NOT NULL,
	priority INTEGER DEFAULT 0 NOT NULL,
	attempts INTEGER DEFAULT 0 NOT NULL,
	accepted INTEGER DEFAULT 0 NOT NULL,
	fails INTEGER DEFAULT 0 NOT NULL,
	upstream BIGINT,
	job_id INTEGER,
	limits TEXT,
	CONSTRAINT pk_task PRIMARY KEY (map_id, idx)
);

CREATE INDEX ix_task_failed ON task (map_id, state, idx) WHERE state = 4;

CREATE INDEX ix_task_pending ON task (map_id, priority, idx) WHERE state = 1;

CREATE INDEX ix_task_running ON task (job_id, map_id, idx) WHERE state = 2;

CREATE INDEX ix_task_upstream ON task (map_id, upstream) WHERE upstream is not null;

CREATE TABLE uses (
	id SERIAL NOT NULL,
	digest BYTEA NOT NULL,
	body TEXT NOT NULL,
	CONSTRAINT pk_uses PRIMARY KEY (id),
	CONSTRAINT uq_uses_digest UNIQUE (digest)
);

CREATE TABLE context (
	id SERIAL NOT NULL,
	digest BYTEA NOT NULL,
	job_id INTEGER NOT NULL,
	rank INTEGER NOT NULL,
	node TEXT NOT NULL,
	code_id INTEGER NOT NULL,
	code_after_id INTEGER,
	environment_id INTEGER NOT NULL,
	host_id INTEGER NOT NULL,
	uses_id INTEGER,
	inputs_id INTEGER,
	CONSTRAINT pk_context PRIMARY KEY (id),
	CONSTRAINT uq_context_digest UNIQUE (digest),
	CONSTRAINT fk_context_job_id FOREIGN KEY(job_id) REFERENCES job (id),
	CONSTRAINT fk_context_code_id FOREIGN KEY(code_id) REFERENCES code (id),
	CONSTRAINT fk_context_code_after_id FOREIGN KEY(code_after_id) REFERENCES code (id),
	CONSTRAINT fk_context_environment_id FOREIGN KEY(environment_id) REFERENCES environment (id),
	CONSTRAINT fk_context_host_id FOREIGN KEY(host_id) REFERENCES host (id),
	CONSTRAINT fk_context_uses_id FOREIGN KEY(uses_id) REFERENCES uses (id),
	CONSTRAINT fk_context_inputs_id FOREIGN KEY(inputs_id) REFERENCES inputs (id)
);

CREATE TABLE map (
	id SERIAL NOT NULL,
	name TEXT NOT NULL,
	recipe_id INTEGER NOT NULL,
	policy TEXT NOT NULL,
	workdir TEXT NOT NULL,
	own TEXT NOT NULL,
	tags TEXT NOT NULL,
	priority INTEGER NOT NULL,
	state SMALLINT NOT NULL,
	user_name TEXT NOT NULL,
	created BIGINT NOT NULL,
	code_id INTEGER NOT NULL,
	environment_id INTEGER NOT NULL,
	size BIGINT NOT NULL,
	parts BIGINT NOT NULL,
	points BIGINT NOT NULL,
	staged SMALLINT NOT NULL,
	CONSTRAINT pk_map PRIMARY KEY (id),
	CONSTRAINT uq_map_name UNIQUE (name),
	CONSTRAINT fk_map_recipe_id FOREIGN KEY(recipe_id) REFERENCES recipe (id),
	CONSTRAINT fk_map_code_id FOREIGN KEY(code_id) REFERENCES code (id),
	CONSTRAINT fk_map_environment_id FOREIGN KEY(environment_id) REFERENCES environment (id)
);

CREATE TABLE acceptance (
	id SERIAL NOT NULL,
	map_id INTEGER NOT NULL,
	at BIGINT NOT NULL,
	user_name TEXT NOT NULL,
	reason TEXT NOT NULL,
	code_id INTEGER NOT NULL,
	contexts TEXT NOT NULL,
	covers TEXT NOT NULL,
	whole SMALLINT NOT NULL,
	tasks BIGINT NOT NULL,
	CONSTRAINT pk_acceptance PRIMARY KEY (id),
	CONSTRAINT fk_acceptance_map_id FOREIGN KEY(map_id) REFERENCES map (id),
	CONSTRAINT fk_acceptance_code_id FOREIGN KEY(code_id) REFERENCES code (id)
);

CREATE INDEX ix_acceptance_map_id ON acceptance (map_id);

CREATE TABLE counter (
	map_id INTEGER NOT NULL,
	state SMALLINT NOT NULL,
	n BIGINT NOT NULL,
	CONSTRAINT pk_counter PRIMARY KEY (map_id, state),
	CONSTRAINT fk_counter_map_id FOREIGN KEY(map_id) REFERENCES map (id)
);

CREATE TABLE dependency (
	id SERIAL NOT NULL,
	map_id INTEGER NOT NULL,
	upstream_id INTEGER NOT NULL,
	kind TEXT NOT NULL,
	by_names TEXT NOT NULL,
	chunk INTEGER NOT NULL,
	on_failed TEXT NOT NULL,
	first BIGINT,
	last BIGINT,
	upstream_tasks TEXT,
	missing BIGINT,
	CONSTRAINT pk_dependency PRIMARY KEY (id),
	CONSTRAINT fk_dependency_map_id FOREIGN KEY(map_id) REFERENCES map (id),
	CONSTRAINT fk_dependency_upstream_id FOREIGN KEY(upstream_id) REFERENCES map (id)
);

CREATE INDEX ix_dependency_map_id ON dependency (map_id);

CREATE INDEX ix_dependency_upstream_id ON dependency (upstream_id);

CREATE TABLE part (
	map_id INTEGER NOT NULL,
	number BIGINT NOT NULL,
	ident TEXT NOT NULL,
	members TEXT NOT NULL,
	size BIGINT NOT NULL,
	missing BIGINT NOT NULL,
	CONSTRAINT pk_part PRIMARY KEY (map_id, number),
	CONSTRAINT fk_part_map_id FOREIGN KEY(map_id) REFERENCES map (id)
);

CREATE UNIQUE INDEX ix_part_map_id_ident ON part (map_id, ident);

CREATE TABLE point (
	map_id INTEGER NOT NULL,
	number BIGINT NOT NULL,
	params TEXT NOT NULL,
	CONSTRAINT pk_point PRIMARY KEY (map_id, number),
	CONSTRAINT fk_point_map_id FOREIGN KEY(map_id) REFERENCES map (id)
);

CREATE TABLE submission (
	id SERIAL NOT NULL,
	map_id INTEGER NOT NULL,
	at BIGINT NOT NULL,
	user_name TEXT NOT NULL,
	code_id INTEGER NOT NULL,
	environment_id INTEGER NOT NULL,
	first BIGINT NOT NULL,
	added BIGINT NOT NULL,
	by_map_id INTEGER,
	by_idx BIGINT,
	by_number INTEGER,
	CONSTRAINT pk_submission PRIMARY KEY (id),
	CONSTRAINT fk_submission_map_id FOREIGN KEY(map_id) REFERENCES map (id),
	CONSTRAINT fk_submission_code_id FOREIGN KEY(code_id) REFERENCES code (id),
	CONSTRAINT fk_submission_environment_id FOREIGN KEY(environment_id) REFERENCES environment (id)
);

CREATE INDEX ix_submission_by_map_id_by_idx ON submission (by_map_id, by_idx);

CREATE INDEX ix_submission_map_id_first ON submission (map_id, first);

CREATE TABLE acceptance_range (
	acceptance_id INTEGER NOT NULL,
	first BIGINT NOT NULL,
	last BIGINT NOT NULL,
	CONSTRAINT pk_acceptance_range PRIMARY KEY (acceptance_id, first),
	CONSTRAINT fk_acceptance_range_acceptance_id FOREIGN KEY(acceptance_id) REFERENCES acceptance (id)
);

