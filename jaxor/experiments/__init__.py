"""What is trained: tasks, models, initializers, optimizers, interventions, and the catalogue of experiments."""
