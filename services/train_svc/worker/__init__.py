"""What runs in a training worker process: training, imports and exports of models."""
