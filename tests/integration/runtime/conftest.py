from tests.runtime_host import host, image, imported

__all__ = ["host", "image", "imported"]
