"""Write the tables of docs/reference and .env.example from the code: ``make reference``.

A page keeps its prose. What stands between ``<!-- generated: NAME -->`` and
``<!-- /generated -->`` is replaced.
"""
