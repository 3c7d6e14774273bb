"""Cases made by Hypothesis, answered by an engine and by MemoryEngine: where the two differ, a script shows it.

    model        the mapped class that cases are about, with the boundary values of each column
    trees        a filter as plain data: each node gives its SQLAlchemy expression and its source
    cases        rows, filter, order and reading (window, page, cursor walk); ask it of a query, write it as a script
    strategies   Hypothesis makes them
    compare      runs them on two engines, and shrinks what differs

``python -m db_plugins.testing.fuzz`` runs as long as it is told to; the conformance kit runs the same with fixed seeds.
"""
