"""The lab: the whole two-tier set-up, alive on one machine, with real servers.

Reading order: plan (who has which address), process, apache, halb and netns
(what runs where), setup (all of it, up and down), load (users), story (the
acceptance story), __main__ (`make demo`).
"""
