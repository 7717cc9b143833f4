"""One palette for pictures, napari layers and web pages; classes stay apart for colour-blind eyes too.

The first seven are those of Okabe and Ito (2008), "Color universal design", ordered so that the first few lie
far apart on a grey image; the others are from Paul Tol's scheme "muted" (2021).
"""

CLASS_COLOURS = (
    "#56B4E9",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#44AA99",
    "#DDCC77",
    "#882255",
    "#999933",
    "#AA4499",
)
BACKGROUND_COLOUR = "#8C6BB1"  # the background hint: no class has it, and it is not lost on grey

# Errors lie over a dimmed image and no class is shown there, but none has a class's colour all the same.
EXTRA_COLOUR = "#FF4D9E"
MISSED_COLOUR = "#35E0E0"
CONFUSED_COLOUR = "#FFFFFF"


def class_colour(class_id: int) -> str:
    """Colour of a class as "#RRGGBB"; classes from 13 on begin anew.

    Raises:
        ValueError: `class_id` is below 1; background has no colour, but for its hint `BACKGROUND_COLOUR`.
    """
    if class_id < 1:
        raise ValueError(f"class ids begin at 1; got {class_id}.")
    return CLASS_COLOURS[(class_id - 1) % len(CLASS_COLOURS)]
