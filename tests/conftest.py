"""How properties are tested: no deadline, because a test asserts no speed, and few enough examples for every commit.

``pytest --hypothesis-profile=thorough`` tries many more.
"""

from hypothesis import settings

settings.register_profile("every commit", deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile("every commit")
