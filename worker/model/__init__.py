"""The words of the project as frozen dataclasses, and pure rules about them."""
