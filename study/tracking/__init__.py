"""Show and log the progress of a study: the terminal, TensorBoard, MLflow and Weights & Biases."""
