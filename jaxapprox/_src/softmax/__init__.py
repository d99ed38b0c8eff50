"""Output layers of very many classes: losses, exact in blocks or from candidates, and the classes of highest score."""
