"""What this machine is and how busy it is: environment, provenance, load, memory, profiles and rate probes."""
