"""Figures as SVG inside a page: text that can be selected, colours that follow the page's theme."""

import io
import xml.etree.ElementTree as tree

import matplotlib

import look

SVG, LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
tree.register_namespace("", SVG)
tree.register_namespace("xlink", LINK)


def _themed(style):
    for colour, name in look.VARIABLES.items():
        style = style.replace(colour, f"var(--{name})")
    return style


def _rename(element, prefix):
    """Names within a picture are its own: a page holds several. Colours become the page's."""
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, prefix + value)
        elif key == f"{{{LINK}}}href" and value.startswith("#"):
            element.set(key, "#" + prefix + value[1:])
        elif "url(#" in value:
            element.set(key, _themed(value.replace("url(#", f"url(#{prefix}")))
        elif key == "style":
            element.set(key, _themed(value))


def svg(picture, number):
    """The text of an <svg> element; well-formed by construction."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        picture.figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = tree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):  # styles would be the whole page's: page.css says the same
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        _rename(element, f"p{number}-")
    root.attrib.pop("width", None)
    root.attrib.pop("height", None)
    root.set("role", "img")
    root.set("aria-label", picture.caption)
    root.set("style", f"aspect-ratio:{picture.figure.get_figwidth():g}/{picture.figure.get_figheight():g}")
    root.set("class", "figure")
    return tree.tostring(root, encoding="unicode")
