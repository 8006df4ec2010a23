"""The running service: main loop, dispatch to the engines, outcome policy, hooks, desktop notifications."""
