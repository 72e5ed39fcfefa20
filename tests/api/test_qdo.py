"""The examples of qdo's own documentation, with ``from provrun import qdo`` in place of ``import qdo``."""

from __future__ import annotations

from api.conftest import Script


def test_groups_of_commands_and_merges_that_require_them(script: Script) -> None:
    out = script('''
from provrun import qdo
q = qdo.create("extract")
for group in range(3):
    commands = list()
    for i in range(5):
        commands.append("echo {} {}".format(group, i))
    ids = q.add_multiple(commands)
    q.add("echo merge " + str(group), requires=ids)
print(q.status()["ntasks"]["Waiting"], q.status()["ntasks"]["Pending"])
q.launch(50).wait()
print(q)
''')
    assert out.splitlines() == [
        "3 15", "extract is Active", "Waiting      : 0", "Pending      : 0", "Running      : 0", "Succeeded    : 18",
        "Failed       : 0", "Cancelled    : 0",
    ]


def test_dependencies(script: Script) -> None:
    out = script('''
from provrun import qdo
q = qdo.create("MapReduce")
commands = ["echo hello " + str(i) for i in range(10)]
taskids = q.add_multiple(commands)
q.add("echo goodbye", requires=taskids)
q.do()
print(q.tasks()[-1]["task"], q.tasks()[-1]["state"], len(taskids))
''')
    assert out == "echo goodbye Succeeded 10\n"


def test_retry_rerun_and_recover(script: Script) -> None:
    out = script('''
import qdo_tasks
from provrun import qdo
q = qdo.connect("Blat")
print(q.retry())
q.do()
print(q.rerun(), q.recover())
print(qdo.qlist(), [task["state"] for task in q.tasks(state="Pending")])
'''.replace("import qdo_tasks", '''
from provrun import qdo
p = qdo.create("Blat")
p.add("test -e fixed")
p.add("true")
p.do()
print(p.status()["ntasks"]["Failed"], len(p.tasks(state="Failed")))
open("fixed", "w").close()'''))
    lines = out.splitlines()
    assert lines[:3] == ["1 1", "1", "2 0"]
    assert lines[3].startswith("[<qdo.Queue Blat at 0x")
    assert lines[3].endswith("['Pending', 'Pending']")


def test_parameters_instead_of_commands(script: Script) -> None:
    out = script('''
from provrun import qdo
q = qdo.create("params")
q.add(dict(a=1, b=2))
q.add(dict(a=3, b=4))
q.add(dict(a=5, b=6))
q.launch(1, script="echo {a}{b}").wait()
print([task["result"] for task in q.tasks()])
''')
    assert out == "[12, 34, 56]\n"


def test_a_function_that_takes_the_task(script: Script) -> None:
    out = script('''
from provrun import qdo
def func(params):
    result = params['a'] + params['b']
    print("a+b = {}".format(result))
    return result
q = qdo.create("sums")
q.add(dict(a=1, b=2))
q.add(dict(a=3, b=4))
q.do(func=func)
print([task["result"] for task in q.tasks()])
''')
    assert out == "[3, 7]\n"


def test_every_add_is_a_task_and_priority_goes_first(script: Script) -> None:
    out = script('''
from provrun import qdo
q = qdo.create("Analyze")
for i in range(3):
    q.add("echo same >> order")
q.add("echo first >> order", priority=100)
q.do()
print(open("order").read().split())
''')
    assert out == "['first', 'same', 'same', 'same']\n"


def test_tasks_without_a_recipe_say_what_to_give(script: Script) -> None:
    said = script('''
from provrun import qdo
q = qdo.create("params")
q.add(dict(a=1))
q.launch(1)
''', fails=True)
    assert 'give script="command {a} {b}" or func=function' in said


def test_loading_a_hundred_thousand_tasks_gives_their_ids(script: Script) -> None:
    out = script('''
from provrun import qdo
q = qdo.create("Blat")
ids = q.add_multiple("analyze -x {} -y {}".format(x, y) for x in range(1000) for y in range(100))
print(len(ids), ids[0], ids[-1], q.status()["ntasks"]["Pending"])
''')
    assert out == "100000 0 99999 100000\n"
