"""Writing and verifying the SavedModel."""
