"""Assetto Corsa Competizione and Assetto Corsa, played byte for byte, so that collectors have a
game to follow.

Written from what is known of the games' interfaces and not from our collectors, which would repeat
a mistake of theirs. `python -m tests.game_emulators --help` says how to play one by hand; `run`
starts one for a test.
"""
