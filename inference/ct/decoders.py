"""Does every transfer syntax that is accepted decode in this installation? Asked at every start.

Decoders are libraries apart from pydicom, found when they are needed. One that is absent, or an update that decodes
something else, would show with the first patient; so a frame of 12 × 10 pixels per syntax is decoded here and compared
with what was encoded: exactly, or within a few units where the syntax loses.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from jaxtyping import UInt16
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from inference.ct.pixels import slice_hu
from inference.ct.syntaxes import LOSSY
from inference.errors import UnusableSeries

TOLERANCE = 8
"""Units of a smooth ramp of 1530 that a lossy sample may be off; each was encoded at high quality."""
_ROWS, _COLUMNS = 12, 10


def undecodable(syntaxes: Sequence[UID]) -> dict[str, str]:
    """Transfer syntaxes that this installation does not decode as it should, each with the reason."""
    faults = {UID(syntax).name: _fault(UID(syntax)) for syntax in syntaxes}
    return {name: fault for name, fault in faults.items() if fault}


def _fault(syntax: UID) -> str:
    if syntax.is_encapsulated and syntax not in FRAMES:
        return "there is no sample of it"
    wanted = _expected(syntax).astype(np.int64)
    try:
        found = slice_hu(_sample(syntax), accept_lossy=True)
    except UnusableSeries as fault:
        return str(fault)
    worst = int(np.abs(found - wanted).max())
    return "" if worst <= (TOLERANCE if syntax in LOSSY else 0) else f"a pixel is wrong by {worst}"


def _expected(syntax: UID) -> UInt16[np.ndarray, "rows columns"]:
    """What was encoded: a restless pattern of 12 bits, or a ramp that loss hardly touches."""
    row, column = np.mgrid[:_ROWS, :_COLUMNS]
    restless, ramp = (row * 37 + column * 211 + (row * column) % 7 * 13) % 4096, row * 90 + column * 60
    pattern = restless if syntax not in LOSSY else ramp // 8 if syntax == JPEGBaseline8Bit else ramp
    return np.asarray(pattern, dtype=np.uint16)


def _sample(syntax: UID) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = _ROWS, _COLUMNS, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = 8 if syntax == JPEGBaseline8Bit else 16
    dataset.BitsStored = {JPEGBaseline8Bit: 8, JPEGExtended12Bit: 12}.get(syntax, 16)
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    if syntax.is_encapsulated:
        dataset.PixelData = encapsulate([bytes.fromhex(FRAMES[syntax])])
    else:
        dataset.PixelData = _expected(syntax).astype("<u2" if syntax.is_little_endian else ">u2").tobytes()
    return dataset


FRAMES: Mapping[UID, str] = MappingProxyType(
    {
        RLELossless: (
            "0200000040000000d40000000000000000000000000000000000000000000000000000000000000000000000000000000000"
            "0000000000000000000000000000ff0002010203ff04020506070000ff0102020304ff0501060702000102ff03010405ff06"
            "000702000102ff0304040506070802000102ff03ff0502060708040001020304ff0502060708040001020304ff0502060708"
            "ff0102020304ff05020607080001ff0202030405ff0601070802010203ff04010506ff07000802010203ff04040506070809"
            "02010203ff04ff06020708090900d3a6794c1ff2c5986b092505e5c5a58565eacaaa094a372411a3907d0ffce9096f696302"
            "fc9b95342e2809949b474efa01ad59600c09b9cd863f530cc57e924b09deffc58b5117dda3c48a0903d6a97c4f22f5c89b6e"
            "092808e8c8a88868edcdad094d3a2714a6938012ffec09726c6605ff9e9837312b09979e4a51fd04b05c630f"
        ),
        JPEGLossless: (
            "ffd8ffc4001b0001010101010101010000000000000000060507080403010cffc3000b0c000c000a01001100ffda00080100"
            "00060000fe7ffed3ed3ed3ed3ed3ed3ed3ed3ed34a8132d66eb4096813254099697f653b28132540988ec27a9d940992a015"
            "ad17d9e25940292a04c47613d4eca04c950265a5fd94eca04c9427c3f3edeca76427c12a04cb59bad025a04c950265a5fd94"
            "eca04c9502623b09ea7650264a8056b45f67896500a0ffd9"
        ),
        JPEGLosslessSV1: (
            "ffd8ffe000104a46494600010100000100010000ffc3000b0c000c000a01011100ffc4001700010101010000000000000000"
            "000000000809060cffda0008010100010000e7ff0069b4da6d369b4da6d369e95c0e070381c0e042b81c1a576bb5da9276bb"
            "524ed76e95f4fa4fbe93efa4fbe9f5a5a0eaca0eaca0eac56507566968a2e57345172b95cd145ce9690b198cc6633198d485"
            "8da569b4da6d369b4da6d369e95c0e070381c0e042b81c1a576bb5da9276bb524ed76e95f4fa4fbe93efa4fbe9f5a5a0eaca"
            "0eaca0eac56507567fffd9"
        ),
        JPEGLSLossless: (
            "ffd8ffe80020535049464600020000010000000c0000000a0a1006010000012c0000012cffe8000800000001ffd8fff7000b"
            "10000c000a01011100fff8000d01ffff0012004301140040ffda0008010100000000ad2da5b4b68fa1e7f9de6f998951923e"
            "5292ca655c5224bd1fa25572e98c82e0d4309e5523e448a95aa6733a210badb3a7a91b33466842ecc94596547b2264705ed9"
            "50c8b2b312f512a326e49880709455122315e2244ab062168843a51234a706a8581b1e1a6df75a717576a05c68744bc324d3"
            "161749f57646af020a49295d729e5638d952fbe9ea5b28a0ffd9"
        ),
        JPEG2000Lossless: (
            "ff4fff51002900000000000a0000000c00000000000000000000000a0000000c000000000000000000010f0101ff52000c00"
            "000001000004040001ff5c00044080ff640025000143726561746564206279204f70656e4a5045472076657273696f6e2032"
            "2e352e34ff90000a0000000000cf0001ff93dff895e81232b6cb57f6bc73e2f1a3ea227332c17b88587fb122d29104a5fd89"
            "2eebfc0f184f49b93626c50b5709d7727a50f61c33e9386abac652046558572799afdfc1596784638763e32747c3e12f718f"
            "aa5ba158f6b97a3a4c21f464e76526217007f1213faaeb308ce051ddea6fbe67f3cde70a5528ea013987c4e8488f68ea6c89"
            "bbc9827392c3f9bdfd6e725b7c2e0c69d168b15a1c76a3a405d5558da63e677f4208166f52af34cd18b43771e832ee5f4a16"
            "d8fe68c63031392ce0cc56ffd9"
        ),
        HTJ2KLossless: (
            "ff4fff51002940000000000a0000000c00000000000000000000000a0000000c000000000000000000010f0101ff50000800"
            "020000000aff52000c00020001000504044001ff5c00132088909090909090909090909090888888ff64001700014f70656e"
            "4a50482056657220302e32362e332eff90000a0000000000de0001ff93c00026e1f70507740000c00013400013400011808e"
            "fd0307740090fe02077400177300c00012c00012c0001180eb004374008600c17400177300c000153000057c0001549e0a74"
            "e6f538239400de9a89296f14f100410bcc917eb80072a12e01edfe38439400c0002e8e00016fc0002dd0ab02615592c23b8e"
            "f2b124640db929261698287c0c6df92a07f8d7fc038c1fa4385b0075118ee2846b556864b365186c9062b5148e0011e0d708"
            "8e810737d2685d00ad96da618bb672d8c26a21d2b2d03600207d436d9577844f0000a45e00ffd9"
        ),
        HTJ2KLosslessRPCL: (
            "ff4fff51002940000000000a0000000c00000000000000000000000a0000000c000000000000000000010f0101ff50000800"
            "020000000aff52000c00020001000504044001ff5c00132088909090909090909090909090888888ff64001700014f70656e"
            "4a50482056657220302e32362e332eff55000a00600000000000deff90000a0000000000de0001ff93c00026e1f705077400"
            "00c00013400013400011808efd0307740090fe02077400177300c00012c00012c0001180eb004374008600c17400177300c0"
            "00153000057c0001549e0a74e6f538239400de9a89296f14f100410bcc917eb80072a12e01edfe38439400c0002e8e00016f"
            "c0002dd0ab02615592c23b8ef2b124640db929261698287c0c6df92a07f8d7fc038c1fa4385b0075118ee2846b556864b365"
            "186c9062b5148e0011e0d7088e810737d2685d00ad96da618bb672d8c26a21d2b2d03600207d436d9577844f0000a45e00ff"
            "d9"
        ),
        JPEGBaseline8Bit: (
            "ffd8ffe000104a46494600010100000100010000ffdb00430002010101010102010101020202020204030202020205040403"
            "04060506060605060606070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a0affc0000b08000c000a0101"
            "1100ffc4001f0000010501010101010100000000000000000102030405060708090a0bffc400b51000020103030204030505"
            "04040000017d01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a"
            "25262728292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778797a8384858687"
            "88898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2"
            "e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9faffda0008010100003f00f813f676fd8cbfd47fc4abd3f82bea1b5fd8cbfd163f"
            "f894ff00cb31fc1ed5f47fecedf0b7c1bfb8ff00896fa771fe15f50da7c2cf067d962ff896ff00cb35ee3d3e95ffd9"
        ),
        JPEGExtended12Bit: (
            "ffd8ffe000104a46494600010100000100010000ffdb00430002010101010102010101020202020204030202020205040403"
            "04060506060605060606070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a0affc1000b0c000c000a0101"
            "1100ffc4001500010100000000000000000000000000000b0dffc40029100000010a04070000000000000000000000020304"
            "0607090b2845630a43546217262736536171ffda0008010100003f0090670ee60cbf634a9e9a8bf36850a659065fa60ae4a9"
            "d050e8b608da11d21dce16e736f234b869b38cfab2142996616e736f0c15c970a0a1e719f011647fffd9"
        ),
        JPEGLSNearLossless: (
            "ffd8ffe80020535049464600020000010000000c0000000a0a1006010000012c0000012cffe8000800000001ffd8fff7000b"
            "10000c000a01011100fff8000d01ffff0018004d01220040ffda0008010100020000a2f178bcbcac5e5e5eac9231312d62b5"
            "6ad523124a9b6996996994b526586586185d84b5161759759ee6ac526b9ad6b58d56c58d6318c6315b162d8b62d8b56c56b5"
            "ad6b5ad5305ad4b52d4a56c599999999a60ccacccacd00ffd9"
        ),
        JPEG2000: (
            "ff4fff51002900000000000a0000000c00000000000000000000000a0000000c000000000000000000010f0101ff52000d01"
            "02000100000404000088ff5c0005428000ff640025000143726561746564206279204f70656e4a5045472076657273696f6e"
            "20322e352e34ff90000a0000000000a00001ff93dff824701232b6cb57f6bc73e2fd38dda190a8cd4bc4ddd5631219ca9116"
            "bf884355e9276316e2017f1ce0704f1fb75a35b3f315d2285d013630d71b5c88f2028a2c2dcf37a5fdf2fc66d67523c97221"
            "fb7d374dbe8e07ed1a30652c058251fe580b0961fadc17854c7086f526a345eb705e165612d712d712d712d712d712d712de"
            "19375555555555555555555555555288ffd9"
        ),
        HTJ2K: (
            "ff4fff51002940000000000a0000000c00000000000000000000000a0000000c000000000000000000010f0101ff50000800"
            "020000002aff52000c00020001000504044000ff5c002322b718b6eab6eab6bcaf00af00aee2a74ca74ca764900390039046"
            "97d297d29761ff64001700014f70656e4a50482056657220302e32362e332eff90000a00000000009e0001ff93c000013875"
            "45e10807740000c000026800004cf2f40387740032e304077400c00004d0000138cfe7008b740067d3fe00623400c0001570"
            "0005a45aede1a075f8039882b5008437e14d7873ca89d300910bcc000178b900c00016c400016c809c6b9926f3aa324de655"
            "659a007fca7fff2bf08f6a5b7c00aa524a7d343f343f9a8fe687e63820fc42029ba01e926a3c00ffd9"
        ),
    }
)
"""One encoded frame per syntax, hexadecimal; made with imagecodecs 2026.3.6 and pydicom 3.0.2."""
