"""Networks of the lecture's case studies (L13), built as a user's own are: `model.builder`, `model.args`.

Each is a module of its own, whose source is in the signatures of its runs: a change to one leaves the others' as they
are.
"""
