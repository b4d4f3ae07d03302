"""The command line around the hypervisor: build, run, bench, doctor and what they share.

Nothing in here is compiled into an image. Every verb is a module: `python -m xenarm.tools.run`.
"""
