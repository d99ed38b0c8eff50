"""Whether sampling pays: noise and bias of sampled gradients, times of steps, and progress per second of both."""
