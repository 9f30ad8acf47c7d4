"""Who retrains the chunks of a study: the driver itself, processes of this machine, or Ray."""
