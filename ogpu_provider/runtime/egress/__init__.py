"""What a source's containers may reach on the network: rules as values, and the firewall that holds them."""
