"""The configuration: loads a YAML file into `Settings`, or reports what to change."""
