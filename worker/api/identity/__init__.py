"""As much of Keystone as its clients ask for, where a token file takes its place."""
