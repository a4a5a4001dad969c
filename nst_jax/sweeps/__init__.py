"""Many settings: the grid of lanes, the folder of results, the contact sheet and the page."""
