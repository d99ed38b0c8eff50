"""How a program begins, ends and writes: options, errors, files, signals, several processes."""
