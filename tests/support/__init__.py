"""What several test modules share: small models, stand-ins, stored results."""
