"""`fawkesd doctor`: checks this machine, its folders and the published files."""
