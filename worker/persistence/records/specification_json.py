"""What an instance is made of, or was before it was adopted, as JSON in its row."""

from worker.model.specification_plain import adoption_of, json_of, specification_of

__all__ = ["adoption_of", "json_of", "specification_of"]
