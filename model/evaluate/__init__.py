"""Protocols: `python -m model.evaluate PROTOCOL`. One a file; each says in its docstring what it measures and how.

A protocol is `evaluate(run) -> Result`, which puts photos through the one Analyzer of a Run, and `score(...) ->
Result`, which judges what came back and knows no photos. The measures themselves are in metrics.py.
"""
