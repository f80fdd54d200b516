"""Structure sets that come with a CT: found, drawn as masks, and taken out of the function regions."""
