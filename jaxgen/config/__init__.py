"""From the command line to validated arms: nothing outside this package and `__main__` sees Hydra or OmegaConf.

`table` lists what can be chosen, and `schema` lets Hydra check it. `arms` makes the candidate and its baseline of what
Hydra composed; `reading` turns each into specs. `typed`, `explain` and `wording` turn what goes wrong into one line
that helps. `run_folder` names the folder of a run, `help` is the text of `--help`.
"""
