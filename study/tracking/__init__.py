"""What is seen while a study runs: the terminal, TensorBoard, MLflow and Weights & Biases."""
