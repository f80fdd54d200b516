"""The viewer: CT, map, lobes and function regions of a case for the browser, and pictures where it cannot draw them."""
