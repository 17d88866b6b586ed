"""Numbers as libvirt writes them into XML."""

from lxml import etree


def number(element: etree._Element | None, name: str, default: int | None = None) -> int | None:
    """Read an attribute in decimal or in hexadecimal (``0x1f``).

    One that is missing is the default; what is no number, or below zero, is None.
    """
    text = None if element is None else element.get(name)
    if text is None:
        return default
    try:
        value = int(text, 16 if text.lower().startswith("0x") else 10)
    except ValueError:
        return None
    return value if value >= 0 else None
