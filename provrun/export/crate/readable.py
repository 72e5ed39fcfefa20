"""A crate for people: README.md and a preview that needs nothing but a browser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from provrun.export.crate.about import NO_LICENSE, About, summary
from provrun.export.crate.facts import Execution, Facts
from provrun.export.crate.metadata import FORMATS, Written

COUNTS = {
    "planned": "tasks", "succeeded": "succeeded", "reused": "reused", "failed": "failed", "cancelled": "cancelled",
    "notRun": "not run",
}
_STYLE = """
:root{--ink:#1c2430;--soft:#5b6675;--line:#dfe4ea;--paper:#fff;--tint:#f5f7f9;--good:#2a7f62;--bad:#b4483c;
--link:#1d5fa8;--idle:#c3cbd5}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ee;--soft:#9aa5b4;--line:#323b47;--paper:#161b22;--tint:#1e252e;
--good:#5bbd98;--bad:#e08578;--link:#7db4f0;--idle:#465160}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:62rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .4rem;text-wrap:balance}
h2{font-size:1.15rem;margin:2.6rem 0 .7rem}
p{max-width:44rem;margin:.5rem 0}
a{color:var(--link)}
.soft,th,figcaption{color:var(--soft)}
code{font:.86em/1.4 ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.figures{display:flex;flex-wrap:wrap;gap:.75rem 2.5rem;margin:1.6rem 0 0;padding:1.1rem 1.3rem;background:var(--tint);
border-radius:10px}
.figures b{display:block;font-size:1.6rem;line-height:1.2;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.93rem}
th,td{text-align:left;vertical-align:top;padding:.45rem .9rem .45rem 0;border-bottom:1px solid var(--line)}
th{font-weight:600;font-size:.82rem;white-space:nowrap}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.t{white-space:nowrap;font-variant-numeric:tabular-nums;font-size:.88rem}
.v{white-space:nowrap}
.bar{display:flex;height:.5rem;min-width:7rem;margin-top:.5rem;border-radius:4px;overflow:hidden;background:var(--idle)}
.bar i{display:block}.good{background:var(--good)}.bad{background:var(--bad)}
.dot{display:inline-block;width:.6rem;height:.6rem;border-radius:50%;margin-right:.45rem}
pre{background:var(--tint);padding:.9rem 1.1rem;border-radius:8px;overflow-x:auto}
footer{margin-top:3rem;padding-top:1rem;border-top:1px solid var(--line);font-size:.88rem}
"""


def readme(facts: Facts, about: About, files: Sequence[Written]) -> str:
    """Write README.md."""
    lines = [f"# {about.titled(facts)}", "", summary(facts), "", *_credits(about), "", "## Maps", ""]
    lines += [f"| map | reads | {' | '.join(COUNTS.values())} | executions |", f"|---|---|{'--:|' * (len(COUNTS) + 1)}"]
    for one in facts.maps:
        numbers = [str(one.counts[term]) for term in (*COUNTS, "attempts")]
        lines.append(f"| {one.name} | {', '.join(one.reads)} | {' | '.join(numbers)} |")
    if facts.declared:
        lines += ["", "## Declared by the author", "", *(f"- {one}" for one in facts.declared)]
    lines += ["", "## Files", "", "| file | what |", "|---|---|"]
    lines += [f"| `{file.path}` | {file.says} |" for file in files]
    lines += [
        "", "## Check it", "",
        "`provenance.ttl` is W3C PROV-O and every RDF tool reads it. `sha256` of every file stands in",
        "`ro-crate-metadata.json`. With [provrun](https://provrun.readthedocs.io) anybody can check the page, follow a",
        "number to the code and parameters that made it, and run a sample again.", "",
        f"Snapshot `{facts.text(facts.page, 'snapshot')}`",
    ]
    digest = facts.text(facts.page, "pageDigest")
    lines += [f"Page digest `{digest}`"] if digest else []
    return "\n".join(lines) + "\n"


def _credits(about: About) -> list[str]:
    family, given = about.names
    name = " ".join(filter(None, (given, family)))
    orcid = f" ([{about.orcid}](https://orcid.org/{about.orcid}))" if about.orcid else ""
    where = f", {about.organisation[0]}" if about.organisation[0] else ""
    license = f"Licence: [{about.spdx or about.license}]({about.license_url})" if about.license_url else NO_LICENSE
    return [*([f"By {name}{orcid}{where}.", ""] if name else []), license]


def preview(facts: Facts, about: About, files: Sequence[Written]) -> str:
    """Write the preview: one page of HTML without scripts and without anything to fetch."""
    body = "\n".join([
        *_head(facts, about), *_maps(facts), *_executions(facts), *_declared(facts), *_codes(facts), *_files(files),
        *_foot(facts, about),
    ])
    title = escape(about.titled(facts))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _head(facts: Facts, about: About) -> Iterator[str]:
    family, given = about.names
    name = escape(" ".join(filter(None, (given, family))))
    if about.orcid:
        name = f'<a href="https://orcid.org/{escape(about.orcid)}">{name or escape(about.orcid)}</a>'
    organisation, url = about.organisation
    where = f'<a href="{escape(url)}">{escape(organisation)}</a>' if url else escape(organisation)
    license = escape(NO_LICENSE)
    if about.license_url:
        license = f'<a href="{escape(about.license_url)}">{escape(about.spdx or about.license)}</a>'
    yield f"<h1>{escape(about.titled(facts))}</h1>"
    yield f'<p class="soft">{" · ".join(filter(None, (name, where, facts.last[:10], license)))}</p>'
    yield f"<p>{escape(summary(facts))}</p>"
    total = {term: sum(one.counts[term] for one in facts.maps) for term in (*COUNTS, "attempts")}
    figures = [
        (total["succeeded"] + total["reused"], "result", "results"), (total["planned"], "task", "tasks"),
        (total["attempts"], "execution", "executions"), (len(facts.maps), "map", "maps"),
        (len(facts.of("CodeVersion")), "version of code", "versions of code"),
        (len(facts.of("Environment")), "environment", "environments"),
    ]
    said = "".join(f"<div><b>{number:,}</b>{one if number == 1 else many}</div>" for number, one, many in figures)
    yield f'<div class="figures">{said}</div>'


def _table(heads: Iterable[tuple[str, str]], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Write a table; each head is a word and the class of its column, ``n`` for numbers."""
    columns = list(heads)
    yield '<div class="wide"><table><thead><tr>'
    yield "".join(f'<th class="{kind}">{escape(word)}</th>' for word, kind in columns)
    yield "</tr></thead><tbody>"
    for row in rows:
        cells = [f'<td class="{kind}">{cell}</td>' for cell, (_, kind) in zip(row, columns, strict=True)]
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"


def _maps(facts: Facts) -> Iterator[str]:
    yield "<h2>Maps</h2>"
    heads = [("map", ""), ("reads", ""), *((word, "n") for word in COUNTS.values())]
    rows = []
    for one in facts.maps:
        planned = one.counts["planned"] or 1
        good = (one.counts["succeeded"] + one.counts["reused"]) * 100 / planned
        bad = one.counts["failed"] * 100 / planned
        shares = (("good", good), ("bad", bad))
        bar = "".join(f'<i class="{kind}" style="width:{share:.2f}%"></i>' for kind, share in shares)
        plan = facts.recipe(one.plan)
        recipe = f"<br><code>{escape(plan)}</code>" if plan else ""
        recipe += "".join(f'<br><span class="soft">{value}</span>' for value in _values(facts, one.node))
        rows.append([
            f"<b>{escape(one.name)}</b>{recipe}{_bar(bar)}", escape(", ".join(one.reads)),
            *(f"{one.counts[term]:,}" for term in COUNTS),
        ])
    yield from _table(heads, rows)


def _bar(parts: str) -> str:
    return f'<span class="bar">{parts}</span>'


def _executions(facts: Facts) -> Iterator[str]:
    yield "<h2>What ran</h2>"
    yield '<p class="soft">A cohort is the set of executions that share code, environment, inputs and outcome.</p>'
    heads = [("cohort", ""), ("executions", "n"), ("code", "v"), ("parameters", ""), ("from", "t"), ("until", "t")]
    yield from _table(heads, (_execution(facts, one) for one in facts.executions))


def _execution(facts: Facts, one: Execution) -> list[str]:
    kind = "good" if one.succeeded else "bad"
    outcome = ("reused from elsewhere" if one.origin else "succeeded") if one.succeeded else one.error
    code = escape(facts.revision(one.plan)) if one.plan is not None else ""
    return [
        f'<span class="dot {kind}"></span>{escape(one.map or "elsewhere")}: {escape(outcome)}',
        f"{one.attempts:,}", f"<code>{code}</code>",
        "<br>".join(_values(facts, one.node)), _time(one.started), _time(one.ended),
    ]


def _values(facts: Facts, node: str) -> list[str]:
    return [f"<code>{escape(p.name)}</code> {escape(p.values)}" for p in facts.parameters(node)[:8]]


def _time(text: str | None) -> str:
    return f"{text[:10]} {text[11:19]}" if text else ""


def _declared(facts: Facts) -> Iterator[str]:
    if facts.declared:
        yield "<h2>Declared by the author</h2>"
        yield f"<ul>{''.join(f'<li>{escape(one)}</li>' for one in facts.declared)}</ul>"


def _codes(facts: Facts) -> Iterator[str]:
    yield "<h2>Code and environments</h2>"
    heads = [("version", ""), ("identifier", ""), ("repository", "")]
    rows = []
    for node in facts.of("CodeVersion"):
        changed = "<br>with uncommitted changes" if facts.text(node, "dirty") == "true" else ""
        names = [facts.text(node, "tree"), facts.text(node, "commit")]
        listed = [one for one in names if one] or [facts.text(node, "digest") or ""]
        repository = facts.text(node, "repository") or ""
        link = escape(repository)
        if repository.startswith("http"):
            link = f'<a href="{link}">{link}</a>'
        rows.append([
            f"<code>{escape(facts.revision(node))}</code>{changed}",
            "<br>".join(f"<code>{escape(one)}</code>" for one in listed), link,
        ])
    for node in facts.of("Environment"):
        python = f"{facts.text(node, 'implementation')} {facts.text(node, 'python')}"
        packages = f"{facts.number(node, 'packages')} packages"
        rows.append([escape(python), f"<code>{escape((facts.text(node, 'digest') or '')[:16])}</code>", packages])
    yield from _table(heads, rows)


def _files(files: Sequence[Written]) -> Iterator[str]:
    yield "<h2>Files</h2>"
    rows = []
    for file in files:
        suffix = "." + file.path.rpartition(".")[2].lower()
        name = FORMATS[suffix][2] if suffix in FORMATS else ""
        rows.append([
            f'<a href="{escape(file.path)}"><code>{escape(file.path)}</code></a>', escape(file.says), name,
            f"{file.size:,}",
        ])
    yield from _table([("file", ""), ("what", ""), ("format", ""), ("bytes", "n")], rows)


def _foot(facts: Facts, about: About) -> Iterator[str]:
    yield "<h2>Check it</h2>"
    yield (
        "<p>The page of provenance is W3C PROV-O: any RDF tool reads it. The digest of each file stands in "
        '<a href="ro-crate-metadata.json"><code>ro-crate-metadata.json</code></a>.</p>'
    )
    lines = [f"snapshot     {facts.text(facts.page, 'snapshot')}"]
    digest = facts.text(facts.page, "pageDigest")
    lines += [f"page digest  {digest}"] if digest else []
    yield f"<pre><code>{escape(chr(10).join(lines))}</code></pre>"
    yield (
        f'<footer class="soft">Written by provrun {escape(about.version)} as a '
        '<a href="https://w3id.org/ro/wfrun/process/0.5">Process Run Crate</a>.</footer>'
    )
