"""A storm of kill -9 against the whole system on this machine, with an audit of what the store has
afterwards.

The schedule, the ledger, the audit and the report are pure; `system`, `cars` and `storm` run
processes.
"""
