"""Many seeds of many settings: which axis they are trained along, compiled, in segments."""
