"""What the configuration says: names, folders, keys, and the resolvers of its YAML files."""
