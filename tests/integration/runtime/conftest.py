from tests.runtime_host import host, image, imported, pushed

__all__ = ["host", "image", "imported", "pushed"]
