"""Which operators of a network are quantised: sensitivities, a search for the largest set, and whole spaces of both."""
