"""What an instance is made of, or was before it was adopted, as JSON in its row."""

from worker.model.specification_plain import adoption_in, json_of, specification_in

__all__ = ["adoption_in", "json_of", "specification_in"]
