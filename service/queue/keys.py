"""The queue's keys in Redis 7 or later, as an operator sees them under the prefix `face:queue:`.

| key                 | type       | what                                                                            |
| ------------------- | ---------- | ------------------------------------------------------------------------------- |
| models              | sorted set | digests of models by order of arrival                                           |
| requests:<digest>   | stream     | requests for a model; its one group is `workers`                                |
| bytes:<digest>      | number     | compressed bytes of the photos in that stream                                   |
| image:<request>     | string     | the photo of a request; expires                                                 |
| workers             | sorted set | ids of workers by order of arrival                                              |
| worker:<id>         | string     | what a worker announced; expires when it is silent                              |
| card:<id>           | string     | what API processes must know about a model; expires with its last worker        |
| replies:<api>       | stream     | outcomes for an API process; expires: a process that is gone has none           |
| cancelled:<request> | flag       | nobody waits for this request any more; expires                                 |
| dead_letters        | stream     | requests that workers died on                                                   |

An entry of `requests` has the fields id, h (head), n (bytes of its photo), t (milliseconds from its arrival to its
deadline) and to (name of the reply stream). The photo is stored beside it, in the transaction that admits the request,
since handing it to a script costs Redis 2 µs a kB in which it does nothing else (docs/log.md, 'The queue's 3 ms'). The
id of the entry is the time of arrival by Redis' clock, the only clock that counts between machines. When that clock
jumps ahead, whatever expires is over and whatever is held looks abandoned until its owner shows the next sign of life:
what cannot be undone is therefore done only to what was found so at two looks, by the looker's own clock.

Each step is one script of service/queue/lua, run whole or not at all.
"""

from __future__ import annotations

from service.redis_access import Script, load_script

GROUP = "workers"
MAX_DEAD_LETTERS = 100


def script(name: str) -> Script:
    """Load the script of this name from service/queue/lua."""
    return load_script("service.queue", name)
