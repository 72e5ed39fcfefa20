"""`init`, `config`, `db` and `completion`: what a project needs around its maps."""

from __future__ import annotations

from pathlib import Path

import click

from provrun.cli.main import COMPLETE
from provrun.cli.options import Face, command, group, root
from provrun.errors import Unavailable


@command("provrun init", "provrun init study --db postgresql://server/study")
@click.argument("directory", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--db", "url", metavar="URL", help="The registry: postgresql://... or sqlite:///PATH.")
def init(face: Face, directory: Path | None, url: str | None) -> None:
    """Make a project in DIR (default: here)."""
    from provrun.project.config import hidden
    from provrun.project.project import Project

    project = Project.create(directory or face.folder or Path.cwd(), url)
    following = "provrun submit MAP --param x=0:10 -- COMMAND {x}"
    face.out.answer(
        {"project": str(project.root), "url": hidden(project.url), "next": following},
        refs=[str(project.root)],
        text=f"made a project in {project.root}\nnext: {following}",
    )


@command("provrun config --origin", "provrun config slots 8")
@click.argument("name", required=False)
@click.argument("value", required=False)
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
def config(face: Face, name: str | None, value: str | None, origin: bool) -> None:
    """Show the configuration, or set NAME to VALUE in .provrun/config.toml."""
    from provrun.project.config import SETTINGS, Config, parsed, write

    project = face.project()
    if name is not None and value is not None:
        write(project.dir, name, parsed(name, value))
        project.config = Config.load(project.dir)
    elif name is not None and name not in SETTINGS:
        parsed(name, "")
    values = project.config.configured()
    chosen = [name] if name is not None else list(values)
    rows = [
        {"name": each, "value": values[each].value, "origin": values[each].origin, "meaning": SETTINGS[each].meaning}
        for each in chosen
    ]
    columns = ["name", "value", "origin"] if origin else ["name", "value", "meaning"]
    face.out.rows("settings", rows, ref="name", columns=columns)


@group("provrun db current", "provrun db upgrade")
def db() -> None:
    """Look after the registry's database."""


@command("provrun db current", "provrun db current --json", parent=db)
def current(face: Face) -> None:
    """Say which schema the registry has and which this provrun wants."""
    from provrun.project.config import hidden
    from provrun.store import migrations

    project = face.project()
    has, wants = migrations.current(project.url), migrations.head()
    following = None if has == wants else "provrun db upgrade"
    face.out.answer(
        {"url": hidden(project.url), "current": has, "head": wants, "next": following},
        refs=[has or ""],
        text=f"{hidden(project.url)}\nschema {has or 'none'}, this provrun wants {wants}",
    )


@command("provrun db upgrade", "provrun db upgrade --json", parent=db)
def upgrade(face: Face) -> None:
    """Bring the registry to the schema this provrun wants."""
    from provrun.store import migrations

    project = face.project()
    before = migrations.current(project.url)
    migrations.upgrade(project.url)
    now = migrations.current(project.url)
    face.out.answer(
        {"before": before, "current": now, "changed": before != now},
        refs=[now or ""],
        text=f"schema {now}" + ("" if before != now else ", nothing to do"),
    )


@command("provrun db check", "provrun db check --json", parent=db)
def check(face: Face) -> int:
    """Check the registry's schema and the database's own integrity."""
    from provrun.project.checking import check_database

    found = check_database(face.project())
    face.out.answer(
        {"ok": not found, "problems": found}, refs=found, text="\n".join(found) or "the registry is sound"
    )
    return 6 if found else 0


@command("provrun db backup study.sqlite", "provrun db backup /backup/$(date +%F).sqlite --json", parent=db)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(face: Face, file: Path) -> None:
    """Write the whole registry, as of one moment, to a new SQLite FILE; runs may go on meanwhile.

    Captured output and large results lie in .provrun/packs, which never change once written: copy that folder, too.
    """
    from provrun.project.backup import backup as write

    project = face.project()
    saved = write(project, file)
    text = f"{file}: {saved.maps} maps, {saved.tasks} tasks, {saved.size:,} bytes"
    if saved.packs:
        text += f"\nnot in it: {saved.packs:,} bytes of outputs and large results in {project.dir / 'packs'}"
    document = {
        "file": str(file), "maps": saved.maps, "tasks": saved.tasks, "size": saved.size, "packs": saved.packs,
    }
    face.out.answer(document, refs=[str(file)], text=text)


@command("provrun db merge laptop.sqlite", "provrun db merge old.sqlite --prefix y2025- --dry-run", parent=db)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--as", "renamed", metavar="NAME=NEW", multiple=True, help="Bring the map NAME under another name.")
@click.option("--prefix", metavar="P", default="", help="Put P in front of the name of every map.")
@click.option(
    "--packs", metavar="DIR", type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The packs of that registry (default: packs beside FILE).",
)
@click.option("--dry-run", is_flag=True, help="Only say what would come.")
def merge(
    face: Face, file: Path, renamed: tuple[str, ...], prefix: str, packs: Path | None, dry_run: bool
) -> None:
    """Bring the maps of another registry into this one, with everything that is known of them.

    FILE is a backup (`provrun db backup`) or the .provrun/registry.sqlite of another project; it is only read. A map
    that is here, too, gets the tasks and attempts that it lacks; results that are here stay. Merging again brings what
    is new since.
    """
    from provrun.project.merging import merge as bring

    done = bring(face.project(), file, renamed=renamed, prefix=prefix, packs=packs, dry=dry_run)
    changed = [one for one in done.maps if one.changed]
    would = "would come" if dry_run else "came"
    lines = []
    for one in done.maps:
        called = one.here if one.here == one.there else f"{one.here} ({one.there} there)"
        kind = "new" if one.new else "here already"
        lines.append(f"{called}: {kind}, {one.tasks} tasks and {one.attempts} attempts {would}")
    if not lines:
        lines.append("no maps there")
    if done.without:
        jobs = "job" if done.without == 1 else "jobs"
        lines.append(f"not here: outputs and large results of {done.without} {jobs}; --packs DIR brings them")
    following = f"provrun status {' '.join(one.here for one in changed)}" if changed else "provrun status"
    maps = [
        {"map": one.here, "from": one.there, "new": one.new, "tasks": one.tasks, "attempts": one.attempts}
        for one in done.maps
    ]
    document = {
        "changed": sum(one.changed for one in changed), "maps": [one.here for one in changed], "next": following,
        "registry": done.registry, "merged": maps, "packs": done.packs, "without_packs": done.without,
        "dry_run": dry_run,
    }
    face.out.answer(
        document, refs=[one.here for one in changed], text="\n".join([*lines, f"next: {following}"])
    )


@command('eval "$(provrun completion bash)"', "provrun completion fish > ~/.config/fish/completions/provrun.fish")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(face: Face, shell: str) -> None:
    """Print the script that completes provrun's commands, options and maps in a shell."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise Unavailable(f"no completion for {shell}", value=shell)
    source = kind(root, {}, "provrun", COMPLETE).source()
    face.out.answer({"shell": shell, "script": source}, refs=[source], text=source)
