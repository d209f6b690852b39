"""Control problems in continuous time with known optima, and how policies learn on them.

`sde` holds environments and their simulation, `normal` and `policies` the laws of actions, `value`
the critics, `cpg` and `cppo` the methods, `learner` the loop; `lq` and `pairs` are problems.
"""
