"""The private source of jaxapprox; its public names are in the modules beside this folder."""
