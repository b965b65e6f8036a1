"""From the command line to a validated experiment.

Nothing outside this package and `sweep` sees Hydra or OmegaConf.

`table` lists what can be chosen, and `schema` lets Hydra check it. `experiment` makes an experiment
of what Hydra composed, with `baseline` for the changes of its second arm; `reading` turns both into
specs. `typed`, `override_mistakes`, `explain` and `wording` turn what goes wrong into one line that
helps. `job` says which of Hydra's jobs is running, `run_folder` names its folder, `help` is the
text of `--help` and `reference` the page of all keys.
"""
