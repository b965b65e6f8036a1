"""From the command line to validated arms: nothing outside this package and `__main__` sees Hydra or OmegaConf.

`table` lists what can be chosen, and `schema` lets Hydra check it. `experiment` makes an experiment of what Hydra
composed, with `baseline` for the changes of its second arm; `reading` turns both into specs. `typed`, `explain` and `wording` turn what goes wrong into one line
that helps. `run_folder` names the folder of a run, `help` is the text of `--help`.
"""
