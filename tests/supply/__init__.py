"""What the project is made of: locked packages, known vulnerabilities, the bill of materials."""
