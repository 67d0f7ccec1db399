"""Measures what the budgets promise: ratios against a baseline of the same run, since machines
differ from hour to hour.
"""
