"""The configuration: one YAML file becomes `Settings`, or a message that says what to change."""
