"""The figures, one file each; a figure is one row of this table.

Each module has NAME (of its files), TITLE (one line), and draw(results): a list of look.Picture, empty
where the results hold nothing for it.
"""

from . import breakdown, comparison, matrix, pairs, ranks, repetitions, reproduction, scale, size, skew, styles

FIGURES = (breakdown, styles, size, skew, ranks, scale, matrix, pairs, repetitions, comparison, reproduction)
